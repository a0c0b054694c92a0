"""Evaluation: a run's answers are scored, summed up with intervals, compared with other runs and kept over time.

It wires the tables of runs to scorers and statistics, which know neither each other nor a file.
"""
