"""The bench: us and our peers, one workload after the other, against one S3 in memory."""
