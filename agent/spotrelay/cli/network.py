"""What an instance's network really gives: baseline gigabits per second, first network card.

"Up to 10 Gigabit" is a burst that ends when it is needed for long; a save is planned with the baseline. From EC2's own
DescribeInstanceTypes (NetworkInfo.NetworkCards[0].BaselineBandwidthInGbps); p3 from the data-plane notes.
"""

from __future__ import annotations

# One connection to S3 gets no more, and small requests do not fill the pipe: what is left of a baseline in practice.
EFFICIENCY = 0.8
DEFAULT = "g5.xlarge"
# fmt: off
BASELINE_GBPS = {
    "t3.medium": 0.256, "t3.large": 0.512,
    "m5.large": 0.75, "m5.xlarge": 1.25, "m5.2xlarge": 2.5, "m5.4xlarge": 5.0,
    "m6i.large": 0.781, "m6i.xlarge": 1.562, "m6i.2xlarge": 3.125, "m6i.4xlarge": 6.25,
    "m7i.large": 0.781, "m7i.xlarge": 1.562, "m7i.2xlarge": 3.125, "m7g.large": 0.937,
    "c5.large": 0.75, "c5.xlarge": 1.25, "c5.2xlarge": 2.5, "c5.4xlarge": 5.0,
    "c6i.large": 0.781, "c6i.xlarge": 1.562, "c6i.2xlarge": 3.125, "c6i.4xlarge": 6.25,
    "c7i.large": 0.781, "c7i.xlarge": 1.562, "c7i.2xlarge": 3.125, "c7g.large": 0.937,
    "r5.large": 0.75, "r5.xlarge": 1.25, "r5.2xlarge": 2.5,
    "r6i.large": 0.781, "r6i.xlarge": 1.562, "r6i.2xlarge": 3.125,
    "p3.2xlarge": 2.5, "p4d.24xlarge": 100.0, "p5.48xlarge": 100.0,
    "g4dn.xlarge": 5.0, "g4dn.2xlarge": 10.0, "g4dn.4xlarge": 20.0, "g4dn.12xlarge": 50.0,
    "g5.xlarge": 2.5, "g5.2xlarge": 5.0, "g5.4xlarge": 10.0, "g5.8xlarge": 25.0, "g5.12xlarge": 40.0,
    "g5.48xlarge": 100.0,
    "g6.xlarge": 2.5, "g6.2xlarge": 5.0, "g6.4xlarge": 10.0, "g6.12xlarge": 40.0,
    "g6e.xlarge": 2.5, "g6e.2xlarge": 5.0, "g6e.4xlarge": 20.0,
    "trn1.2xlarge": 3.125, "inf2.xlarge": 2.083,
}
# fmt: on


def upload_s(size: int, instance_type: str) -> float:
    """Seconds to move `size` bytes off that instance. Raises KeyError for a type that is not in the table."""
    return size * 8 / (BASELINE_GBPS[instance_type] * 1e9 * EFFICIENCY)
