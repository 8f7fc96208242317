"""The card agent: a loopback page that asks for the PIN, for browsers without the Web eID extension.

A site opens its pop-up and sends it the extension's own messages. The browser tells the pop-up which
origin they come from; the agent shows that origin, asks for the PIN in its own page, does the work on
the card and sends the answer back to that origin and no other.

`origins` which sites may ask, and which the person has allowed
· `texts` English and Estonian · `app` pages and the pages' own interface.
"""
