"""What most rooms need to coordinate: breaker, later leases and renewal."""
