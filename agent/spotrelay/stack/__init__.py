"""The stack: what spotrelay needs in an account, made, changed and removed by CloudFormation.

template.yaml   what there is, with the reason for each permission: the one truth
template        its text and its parameters
clients         boto3's session and clients, each made once
meanings        what it means when AWS refuses or does not answer; `doctor` stands on these two as well
refusals        that as an error: what to do next
account         whose account, in which region
standing        how a stack stands: state, outputs, whether it is ours
changes         a change set: what would change, and making it so
progress        CloudFormation's events, until it is through
ground          what a launch stands on in this region: image, types, zones, bucket, service role
code            the launcher's zip
feed            what feeds the launcher: shut before a stack goes
deploying       from whatever stands there to a working stack
destroying      back to nothing but the data
"""
