"""The sandbox that a script judges: how to reach it, and how the script's cases are run.

The environment variable SANDBOX holds the line of JSON that `otsvault sandbox` prints.
"""

import faulthandler
import json
import os
import sys
import time
import traceback

import oss2
import tablestore

# A server that hangs must fail the test, with the stack that waited for it.
faulthandler.dump_traceback_later(600, exit=True)

DESCRIPTION = json.loads(os.environ["SANDBOX"])
KEY = (DESCRIPTION["access_key_id"], DESCRIPTION["access_key_secret"])


def table_store(key=KEY, **options):
    """A Table Store client; `region=` makes it sign with V4 instead of V2. It does not retry: errors are looked at."""
    return tablestore.OTSClient(
        DESCRIPTION["ots_endpoint"], *key, DESCRIPTION["instance"], retry_policy=tablestore.NoRetryPolicy(), **options)


def bucket(version="v4", key=KEY):
    """An OSS bucket, signed with V1 or V4. It does not retry."""
    auth = {"v1": oss2.Auth, "v4": oss2.AuthV4}[version](*key)
    oss2.defaults.request_retries = 0
    return oss2.Bucket(auth, DESCRIPTION["oss_endpoint"], DESCRIPTION["bucket"],
                       region=DESCRIPTION["region"], enable_crc=True)


def refused(call, code, text=None):
    """Asserts that the service refuses a call with `code` and, if given, with exactly `text`."""
    try:
        call()
    except tablestore.OTSServiceError as error:
        found = (error.get_error_code(), error.get_error_message())
    except oss2.exceptions.OssError as error:
        found = (error.code, error.message)
    else:
        raise AssertionError(f"it was not refused with {code}")
    assert found[0] == code and text in (None, found[1]), found


def equal(found, expected):
    """Asserts equality and shows both sides."""
    assert found == expected, f"\n   found {found!r}\nexpected {expected!r}"


def run(cases):
    """Runs the cases, all of them; says how each one went and exits with 1 if any failed."""
    failed = 0
    for case in cases:
        start = time.monotonic()
        try:
            case()
            how = "ok"
        except Exception:
            traceback.print_exc(file=sys.stdout)
            failed += 1
            how = "FAILED"
        print(f"{how:6} {case.__name__} ({time.monotonic() - start:.1f} s)", flush=True)
    sys.exit(1 if failed else 0)
