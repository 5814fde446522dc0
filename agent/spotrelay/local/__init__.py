"""A cloud in a folder: SQS, EC2, IMDS and Lambda on loopback, instances as processes. Reached over the wire."""
