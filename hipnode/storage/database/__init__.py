"""The two engines and their one schema. SQLAlchemy's connection is made here and nowhere else."""
