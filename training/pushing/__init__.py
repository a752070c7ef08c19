"""A frozen dataset, or one export of it, sent to a place outside: a hub, or S3-compatible storage.

tree    which files go there, in which order: the card and the manifest come last
watch   what an upload has sent so far, and whether it is to stop
hub     a hub, by huggingface_hub: one commit, whole or not at all
s3      S3-compatible storage, by Arrow's own client: the manifest says that all is there
places  which of them this installation has the credentials for
job     the push as a job: asked for, run, cancelled, gone on with
"""
