"""Task graphs, one TOML file each; `operations.toml` names what the bank can do, `phrases.toml` what is said anywhere."""
