"""Where rows go: ClickHouse over TCP, or ClickHouse in the process."""
