-- Claims walk along the line by when events fell due, and nobody looks in it for a subject any more.
DROP INDEX inbox_subject;
