from digiid.platform.migration_env import run_migrations

run_migrations()
