"""Task graphs, a TOML file each; `operations.toml`: what the bank can do, `phrases.toml`: what is said anywhere."""
