"""The public and the admin listener; aiohttp is used here and nowhere else."""
