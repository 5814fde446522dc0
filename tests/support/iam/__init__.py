"""IAM for tests: an endpoint in front of the emulators that asks the stack's own policies about every call.

moto keeps policies and ignores their conditions; our control plane has none at all. Between the clients and both stands
`front.Front`, the one endpoint that everybody is given:

    calls       what a request is: service, action, parameters
    s3 ec2 sqs  what it needs of IAM: actions, on which resources, in which context
    policies    whether statements grant that; with `conditions` and `wildcards`
    denials     the refusal, in the shape that each protocol has for it

Whatever it does not know (an operator, a key of a policy, an action it has no rule for) is an error that tests see,
never a yes. Who calls is known by the access key alone: signatures are not checked, that is not what is tested here.
"""
