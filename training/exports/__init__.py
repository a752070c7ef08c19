"""A frozen dataset as one file in somebody else's format. A pure function of the frozen files: no database is read.

options     what a person chooses: which split, which columns
source      the frozen files, read as pairs or as judged tasks
pairs       formats made of the preference rows      tasks   formats made of the judged tasks
formats     which formats there are: another one is another entry there
containers  JSON Lines, Parquet, CSV, zip           writing  one export into one file
job         the export as a job: started, run, cancelled, found again, removed      links   signed addresses of its file
"""
