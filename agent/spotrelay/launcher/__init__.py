"""The Lambda that turns every resume request into exactly one new owner. core + boto3 only."""
