"""What is on disk: input rows, job and limits files, the run directory with its journal and tables."""
