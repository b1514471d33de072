"""What runs again and again: the jobs, when each is due, and a scheduler for machines without Airflow.

table.py      every job: when, in which pool, how often it is tried    read by the DAG files, too
cron.py       when a cron line is due
steps.py      what each job does
scheduler.py  runs each in a process of its own
"""
