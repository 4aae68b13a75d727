"""From a lease to stored pictures: what workers do with a job."""
