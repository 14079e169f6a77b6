"""Language models that write text: a chat endpoint of any provider, or a causal model from a folder.

Each is a `Writer`: messages in, text out, `WriterFailed` when it cannot. What they write is not to be trusted.
"""
