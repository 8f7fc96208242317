"""One page with every clock of every security server: what stops next, how much time is left, what to do.

It asks the servers' health ports each time it is opened and keeps nothing. Nobody signs in: signing in needs what may
be broken. It shows addresses and error texts, so serve it to operators only.
"""
