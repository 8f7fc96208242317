"""The exchange's formats on the wire and on paper, built to X-Road 7 REST (message version r1).

Bytes in, values out: no socket, clock, file or key store is touched here. One module per format:

* `rest_message`: the signed parts of a request and a response, headers, request hash, consistency;
* `paths`: which request paths may be matched against access rights at all;
* `multipart`: the streamed envelope between two security servers, and `part_order`: which part may follow which;
* `faults`: error codes, and the JSON, XML and SOAP bodies that carry them;
* `hash_chain` and `message_signature`: what a signature covers, and that it covers exactly that;
* `message_container`: one message with its evidence as an ASiC-E container;
* `archive_links`: the chain through a message archive.

docs/protocols/exchange-messages.md is the specification.
"""
