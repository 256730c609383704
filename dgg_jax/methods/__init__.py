"""The methods: each pairs networks with losses and runs its stages."""
