"""Campaigns: many runs of one command, described in one file and run by any executor."""
