"""OSS objects through oss2, signed with V1 and with V4."""

import io

import oss2

import sandbox
from sandbox import KEY, equal, refused

BUCKETS = {version: sandbox.bucket(version) for version in ("v1", "v4")}
BODY = bytes(range(256)) * 1_000
FORBID = {"x-oss-forbid-overwrite": "true"}


def for_both(case):
    def both():
        for version, bucket in BUCKETS.items():
            case(bucket, f"{case.__name__}/{version}")
    both.__name__ = case.__name__
    return both


@for_both
def an_object_comes_back_with_its_metadata(bucket, prefix):
    for name in ("plain", "späce & plus+%/€", "a//b", "empty"):
        body = b"" if name == "empty" else BODY
        put = bucket.put_object(f"{prefix}/{name}", body, headers={"x-oss-meta-origin": "EWR", "Content-Type": "text/x"})
        got = bucket.get_object(f"{prefix}/{name}")
        equal(got.read(), body)
        equal((got.headers["x-oss-meta-origin"], got.headers["Content-Type"], got.etag), ("EWR", "text/x", put.etag))
        head = bucket.head_object(f"{prefix}/{name}")
        equal((head.content_length, head.server_crc, head.object_type), (len(body), put.crc, "Normal"))
    bucket.put_object(f"{prefix}/stream", io.BytesIO(BODY))
    equal(bucket.get_object(f"{prefix}/stream").read(), BODY)


@for_both
def a_range_is_a_part_of_the_object(bucket, prefix):
    bucket.put_object(prefix, BODY)
    for wanted, expected in [((0, 0), BODY[:1]), ((100, 199), BODY[100:200]), ((255_000, None), BODY[255_000:]),
                             ((None, 10), BODY[-10:])]:
        got = bucket.get_object(prefix, byte_range=wanted)
        equal((got.status, got.read()), (206, expected))


@for_both
def a_list_has_pages_prefixes_and_a_delimiter(bucket, prefix):
    names = [f"{prefix}/{name}" for name in
             ["a", "b/1", "b/2", "c/d/1", "e", "ü"] + [f"many/{number:03}" for number in range(250)]]
    for name in reversed(names):
        bucket.put_object(name, b"x")
    for iterator in (oss2.ObjectIterator, oss2.ObjectIteratorV2):
        equal([found.key for found in iterator(bucket, prefix=prefix + "/", max_keys=100)], sorted(names))
        found = [found.key for found in iterator(bucket, prefix=prefix + "/", delimiter="/", max_keys=2)]
        equal(found, [f"{prefix}/{name}" for name in ["a", "b/", "c/", "e", "many/", "ü"]])
    page = bucket.list_objects_v2(prefix=prefix + "/many/", max_keys=200)
    equal((len(page.object_list), page.is_truncated), (200, True))
    page = bucket.list_objects_v2(prefix=prefix + "/many/", max_keys=200, continuation_token=page.next_continuation_token)
    equal((len(page.object_list), page.is_truncated), (50, False))
    page = bucket.list_objects_v2(prefix=prefix + "/many/", start_after=prefix + "/many/247")
    equal([found.key[-3:] for found in page.object_list], ["248", "249"])


@for_both
def a_copy_is_equal_and_deleted_objects_are_gone(bucket, prefix):
    source, target = prefix + "/sörce", prefix + "/target"
    bucket.put_object(source, BODY, headers={"x-oss-meta-a": "b"})
    bucket.copy_object(bucket.bucket_name, source, target)
    got = bucket.get_object(target)
    equal((got.read(), got.headers["x-oss-meta-a"]), (BODY, "b"))
    bucket.delete_object(source)
    bucket.delete_object(source)  # no error, as on the service
    refused(lambda: bucket.get_object(source), "NoSuchKey")
    assert not bucket.object_exists(source) and bucket.object_exists(target)


@for_both
def many_are_deleted_at_once(bucket, prefix):
    names = [f"{prefix}/ü & <{number}>" for number in range(300)]
    for name in names:
        bucket.put_object(name, b"x")
    equal(sorted(bucket.batch_delete_objects(names[:200] + [prefix + "/absent"]).deleted_keys),
          sorted(names[:200] + [prefix + "/absent"]))
    equal([found.key for found in oss2.ObjectIteratorV2(bucket, prefix=prefix)], sorted(names[200:]))


@for_both
def an_object_is_not_overwritten_when_that_is_forbidden(bucket, prefix):
    bucket.put_object(prefix, b"first", headers=FORBID)
    refused(lambda: bucket.put_object(prefix, b"second", headers=FORBID), "FileAlreadyExists")
    equal(bucket.get_object(prefix).read(), b"first")
    refused(lambda: bucket.copy_object(bucket.bucket_name, prefix, prefix, headers=FORBID), "FileAlreadyExists")
    upload = bucket.init_multipart_upload(prefix).upload_id
    part = oss2.models.PartInfo(1, bucket.upload_part(prefix, upload, 1, b"third").etag)
    refused(lambda: bucket.complete_multipart_upload(prefix, upload, [part], headers=FORBID), "FileAlreadyExists")
    equal(bucket.get_object(prefix).read(), b"first")
    bucket.put_object(prefix, b"second")
    equal(bucket.get_object(prefix).read(), b"second")


def a_wrong_key_is_refused():
    for version in BUCKETS:
        for key, code in [((KEY[0], "wrong"), "SignatureDoesNotMatch"), (("nobody", KEY[1]), "InvalidAccessKeyId")]:
            stranger = sandbox.bucket(version, key)
            refused(lambda: stranger.put_object("wrong-key", b"x"), code)
            refused(lambda: stranger.get_object("wrong-key"), code)
    assert not BUCKETS["v4"].object_exists("wrong-key")


sandbox.run([
    an_object_comes_back_with_its_metadata,
    a_range_is_a_part_of_the_object,
    a_list_has_pages_prefixes_and_a_delimiter,
    a_copy_is_equal_and_deleted_objects_are_gone,
    many_are_deleted_at_once,
    an_object_is_not_overwritten_when_that_is_forbidden,
    a_wrong_key_is_refused,
])
