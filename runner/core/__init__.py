"""Decisions: plain values in and out, the standard library only, and time is a number that is passed in."""
