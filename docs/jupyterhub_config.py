"""Settings of a JupyterHub for a class; docs/jupyterhub.md explains them."""

import sys
from pathlib import Path

c = get_config()  # noqa: F821

# For a web server on this machine, which adds HTTPS.
c.JupyterHub.bind_url = "http://127.0.0.1:8000"

# Students and instructors are users of this machine, and log in with their passwords.
c.JupyterHub.spawner_class = "jupyterhub.spawner.LocalProcessSpawner"
c.LocalAuthenticator.allowed_groups = {"students", "instructors"}

# Each user's server puts the lessons into ~/kdcourse-lessons and opens lesson 00 there.
c.Spawner.cmd = [str(Path(sys.executable).with_name("kdcourse")), "lab", "--hub"]

# A whole class may log in at once, so servers may take longer than the defaults: 60 seconds to start, 30 to answer.
c.Spawner.http_timeout = c.Spawner.start_timeout = 180

# One thread per kernel: torch would otherwise start one per core for every student.
c.Spawner.environment = {"OMP_NUM_THREADS": "1"}

# The memory of a kernel that nobody uses is freed after 30 minutes; a server that nobody uses ends after two hours.
c.Spawner.args = [
    "--MappingKernelManager.cull_idle_timeout=1800",
    "--MappingKernelManager.cull_interval=300",
    "--ServerApp.shutdown_no_activity_timeout=7200",
    # Any user of the machine could otherwise read what a kernel prints.
    "--KernelManager.transport_encryption=required",
]
