"""The command line: it reads words, builds values, calls the verb, and prints."""
