"""Multipart uploads through oss2, signed with V1 and with V4."""

import os
import random
import tempfile

import oss2
from oss2.models import PartInfo

import sandbox
from sandbox import equal, refused

BUCKETS = {version: sandbox.bucket(version) for version in ("v1", "v4")}
BODY = random.Random(20130101).randbytes(1_000_000)
PART = 200_000


def for_both(case):
    def both():
        for version, bucket in BUCKETS.items():
            case(bucket, f"{case.__name__}/{version}")
    both.__name__ = case.__name__
    return both


def parts_of(bucket, name, upload, numbers=range(1, 6)):
    def put(number):
        body = BODY[(number - 1) * PART:number * PART]
        done = bucket.upload_part(name, upload, number, body)
        return PartInfo(number, done.etag, len(body), done.crc)
    return [put(number) for number in numbers]


@for_both
def parts_become_an_object_when_they_are_completed(bucket, name):
    upload = bucket.init_multipart_upload(name, headers={"x-oss-meta-a": "b"}).upload_id
    parts = parts_of(bucket, name, upload, [5, 3, 1, 4, 2])
    assert not bucket.object_exists(name)
    listed = list(oss2.PartIterator(bucket, name, upload, max_parts=2))
    equal([(part.part_number, part.size) for part in listed], [(number, PART) for number in range(1, 6)])
    done = bucket.complete_multipart_upload(name, upload, sorted(parts, key=lambda part: part.part_number))
    got = bucket.get_object(name)
    equal((got.read() == BODY, got.headers["x-oss-meta-a"], got.etag), (True, "b", done.etag))
    equal(bucket.head_object(name).object_type, "Multipart")
    refused(lambda: bucket.complete_multipart_upload(name, upload, parts), "NoSuchUpload")


@for_both
def a_part_can_be_copied_from_an_object(bucket, name):
    bucket.put_object(name + "/source", BODY)
    upload = bucket.init_multipart_upload(name).upload_id
    parts = []
    for number, (first, last) in enumerate([(500_000, 999_999), (0, 499_999)], 1):
        done = bucket.upload_part_copy(bucket.bucket_name, name + "/source", (first, last), name, upload, number)
        parts.append(PartInfo(number, done.etag))
    bucket.complete_multipart_upload(name, upload, parts)
    assert bucket.get_object(name).read() == BODY[500_000:] + BODY[:500_000]


@for_both
def an_aborted_upload_is_gone(bucket, name):
    upload = bucket.init_multipart_upload(name).upload_id
    parts_of(bucket, name, upload, [1])
    equal([(found.key, found.upload_id) for found in oss2.MultipartUploadIterator(bucket, prefix=name)], [(name, upload)])
    bucket.abort_multipart_upload(name, upload)
    equal(list(oss2.MultipartUploadIterator(bucket, prefix=name)), [])
    refused(lambda: bucket.upload_part(name, upload, 2, b"x"), "NoSuchUpload")
    assert not bucket.object_exists(name)


@for_both
def wrong_parts_are_refused(bucket, name):
    upload = bucket.init_multipart_upload(name).upload_id
    first, second = parts_of(bucket, name, upload, [1, 2])
    refused(lambda: bucket.complete_multipart_upload(name, upload, [first, PartInfo(7, second.etag)]), "InvalidPart")
    refused(lambda: bucket.complete_multipart_upload(name, upload, [PartInfo(1, second.etag)]), "InvalidPart")
    refused(lambda: bucket.upload_part(name, upload, 10_001, b"x"), "InvalidArgument")
    small = PartInfo(1, bucket.upload_part(name, upload, 1, b"x").etag)
    refused(lambda: bucket.complete_multipart_upload(name, upload, [small, second]), "EntityTooSmall")


@for_both
def a_resumable_upload_goes_on_where_it_stopped(bucket, name):
    with tempfile.TemporaryDirectory() as directory:
        file, store = os.path.join(directory, "body"), oss2.ResumableStore(root=directory)
        with open(file, "wb") as writer:
            writer.write(BODY)

        class Stopped(Exception):
            pass

        def stop(consumed, total):
            if consumed and consumed >= 2 * PART:
                raise Stopped
        upload = lambda **options: oss2.resumable_upload(
            bucket, name, file, store=store, multipart_threshold=PART, part_size=PART, num_threads=1, **options)
        try:
            upload(progress_callback=stop)
        except Stopped:
            pass
        open_upload, = oss2.MultipartUploadIterator(bucket, prefix=name)
        before = len(list(oss2.PartIterator(bucket, name, open_upload.upload_id)))
        assert 0 < before < 5, before
        upload()
        equal(list(oss2.MultipartUploadIterator(bucket, prefix=name)), [])
        assert bucket.get_object(name).read() == BODY

        target = os.path.join(directory, "target")
        oss2.resumable_download(bucket, name, target, store=oss2.ResumableDownloadStore(root=directory),
                                multiget_threshold=PART, part_size=PART, num_threads=3)
        with open(target, "rb") as reader:
            assert reader.read() == BODY


sandbox.run([
    parts_become_an_object_when_they_are_completed,
    a_part_can_be_copied_from_an_object,
    an_aborted_upload_is_gone,
    wrong_parts_are_refused,
    a_resumable_upload_goes_on_where_it_stopped,
])
