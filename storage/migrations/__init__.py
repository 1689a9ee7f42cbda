"""Alembic's revisions of our tables.

After a change of `storage.database.tables`, on a scratch database that has the schema of before:

    from alembic import command
    from storage.database import connect
    from storage.schema import alembic_config

    with connect("sqlite:///scratch.db").writing() as connection:
        command.revision(alembic_config(connection), "what changed", autogenerate=True, rev_id="0002")
"""
