"""Votes of people from elsewhere: read, checked, stored as judgements of an import.

judged   the one form that every format is read into, and what a task, an answer and a vote may be
profile  our own form (docs/reference/votes.md); full: what only the full format says; sources: the forms of other projects
formats  which formats there are, and which one a file is: another format is another entry there
checking the first pass: every row checked, and a checked copy written
storing  the second pass: the checked copy into the database, in committed chunks that nobody sees before the end
making   the rows that a chunk becomes, made on another thread while the database takes the chunk before
job      imports started, mapped, cancelled, repeated
running  one attempt at an import: checked, stored, shown, or taken back
"""
