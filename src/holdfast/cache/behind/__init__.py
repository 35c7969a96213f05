"""Write-behind: a journal in Redis, and the writers that bring it to the source. Promises: rules.py."""
