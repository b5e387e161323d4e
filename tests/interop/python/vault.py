"""Backups made by the program itself, and their objects on the local disk."""

import glob
import json
import os
import subprocess

import oss2

import sandbox
from sandbox import DESCRIPTION, KEY


def otsvault(*arguments):
    """Runs the program with `--json` against the sandbox; its output as data, or the last line of it: `backup` tells events before."""
    environment = {
        **os.environ, "OTS_ENDPOINT": DESCRIPTION["ots_endpoint"], "OSS_ENDPOINT": DESCRIPTION["oss_endpoint"],
        "OSS_REGION": DESCRIPTION["region"],
        "ALIBABA_CLOUD_ACCESS_KEY_ID": KEY[0], "ALIBABA_CLOUD_ACCESS_KEY_SECRET": KEY[1]}
    done = subprocess.run([os.environ["OTSVAULT"], "--json", *arguments], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, f"{arguments} ended with {done.returncode}:\n{done.stdout}{done.stderr}"
    try:
        return json.loads(done.stdout)
    except json.JSONDecodeError:
        return json.loads(done.stdout.splitlines()[-1])


def backup(table, vault, *options):
    """Backs a table up and returns the summary."""
    return otsvault("backup", f"ots://{DESCRIPTION['instance']}/{table}", vault, *options)


def download(prefix, directory):
    """Copies every object below a prefix of the bucket to the same name below a directory, through oss2."""
    bucket = sandbox.bucket()
    for found in list(oss2.ObjectIteratorV2(bucket, prefix=prefix + "/")):
        target = os.path.join(directory, found.key)
        os.makedirs(os.path.dirname(target), exist_ok=True)
        bucket.get_object_to_file(found.key, target)
    return os.path.join(directory, prefix)


def runs(vault, table):
    """The directories of a table's committed runs in a vault on the local disk."""
    found = glob.glob(os.path.join(vault, DESCRIPTION["instance"], table, "*", "base", "*", "manifest.json"))
    return sorted(map(os.path.dirname, found))
