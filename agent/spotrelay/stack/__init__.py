"""The stack: what spotrelay needs in an account, made, changed and removed by CloudFormation.

template.yaml   what there is, with the reason for each permission: the one truth
template        its text and its parameters
account         whose account, in which region: credentials and clients
refusals        what AWS's errors mean to a person, and what to do next
standing        how a stack stands: state, outputs, whether it is ours
changes         a change set: what would change, and making it so
progress        CloudFormation's events, until it is through
ground          what a launch stands on in this region: image, types, zones, service roles
code            the launcher's zip
deploying       from whatever stands there to a working stack
destroying      back to nothing but the data
"""
