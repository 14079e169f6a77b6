"""Who may ask what, how often and how: keys, tokens, scopes, rates, headers. `setup.secure` puts it around an app."""
