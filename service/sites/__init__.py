"""Where sites, goals, shield rules and salts are kept."""
