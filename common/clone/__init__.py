"""Projects of one's own: `espalier new` prunes this repository to what some systems need, `espalier update` merges."""
