"""Alembic's environment and revisions of our tables.

After a change of `storage.database.tables`, write a new revision on a scratch database with the previous schema:

    from alembic import command
    from storage.database.connection import connect
    from storage.schema import alembic_config

    with connect("sqlite:///scratch.db").writing() as connection:
        command.revision(alembic_config(connection), "what changed", autogenerate=True, rev_id="0014")
"""
