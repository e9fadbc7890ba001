"""What a training is: a TOML file, validated; and what its paper published."""
