"""The exchange's central server: who is a member, which servers there are, whom to trust. It holds no message, no
service and no access right; those stay at the providers.
"""
