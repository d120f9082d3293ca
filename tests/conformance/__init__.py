"""What a package index has to answer, by the PEPs and RFC 9110; of any index whose URL is given, else of ours.

    pytest tests/conformance --index-url http://127.0.0.1:8080/simple/ --project NAME [--project NAME]

Tests are marked by what asks for it: ``must`` and ``should`` as their PEP or RFC says it, ``house`` where only this fleet's own
standards do. What the pages of the projects given show no case of is skipped, except of our own index, which shows all.
"""
