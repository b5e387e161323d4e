"""OSS through alibabacloud-oss-v2, signed with V4 and with V1: every request it knows for objects and uploads."""

import datetime
import hashlib
import urllib.error
import urllib.request

import alibabacloud_oss_v2 as oss

from sandbox import DESCRIPTION, KEY, equal, run

BUCKET = DESCRIPTION["bucket"]
BODY = bytes(range(256)) * 1_000
PART = 100 * 1024


def client(version="v4", key=KEY):
    config = oss.config.load_default()
    config.credentials_provider = oss.credentials.StaticCredentialsProvider(*key)
    config.endpoint = DESCRIPTION["oss_endpoint"]
    config.region = DESCRIPTION["region"]
    config.signature_version = version
    config.use_path_style = True
    config.retry_max_attempts = 1
    return oss.Client(config)


CLIENTS = {version: client(version) for version in ("v4", "v1")}


def for_both(case):
    def both():
        for version, one in CLIENTS.items():
            case(one, f"v2/{case.__name__}/{version}")
    both.__name__ = case.__name__
    return both


def refused(call, code):
    try:
        call()
    except oss.exceptions.OperationError as error:
        found = error.unwrap()
        assert isinstance(found, oss.exceptions.ServiceError) and found.code == code, found
        assert found.request_id and found.ec, found
    else:
        raise AssertionError(f"it was not refused with {code}")


def put(one, key, body=BODY, **more):
    return one.put_object(oss.PutObjectRequest(bucket=BUCKET, key=key, body=body, **more))


def get(one, key, **more):
    return one.get_object(oss.GetObjectRequest(bucket=BUCKET, key=key, **more))


@for_both
def an_object_comes_back_with_its_metadata(one, prefix):
    for name in ("plain", "späce & plus+%/€", "a//b", "empty"):
        body = b"" if name == "empty" else BODY
        stored = put(one, f"{prefix}/{name}", body, metadata={"origin": "EWR"}, content_type="text/x")
        found = get(one, f"{prefix}/{name}")
        equal((found.body.content, found.metadata["origin"], found.content_type), (body, "EWR", "text/x"))
        equal((found.etag, found.hash_crc64), (stored.etag, stored.hash_crc64))
        head = one.head_object(oss.HeadObjectRequest(bucket=BUCKET, key=f"{prefix}/{name}"))
        equal((head.content_length, head.object_type, head.storage_class), (len(body), "Normal", "Standard"))
        meta = one.get_object_meta(oss.GetObjectMetaRequest(bucket=BUCKET, key=f"{prefix}/{name}"))
        equal((meta.content_length, meta.etag), (len(body), stored.etag))
    assert not one.is_object_exist(BUCKET, prefix + "/nothing")


@for_both
def a_range_is_a_part_of_the_object_or_refused(one, prefix):
    put(one, prefix)
    for wanted, expected in [("bytes=0-0", BODY[:1]), ("bytes=100-199", BODY[100:200]), ("bytes=255000-", BODY[255_000:]),
                             ("bytes=-10", BODY[-10:]), ("bytes=255990-999999", BODY[255_990:])]:
        found = get(one, prefix, range_header=wanted, range_behavior="standard")
        equal((found.status_code, found.body.content), (206, expected))
    refused(lambda: get(one, prefix, range_header="bytes=256000-", range_behavior="standard"), "InvalidRange")


@for_both
def conditions_decide_what_is_sent(one, prefix):
    stored = put(one, prefix)
    hour = datetime.timedelta(hours=1)
    now = datetime.datetime.now(datetime.timezone.utc)
    date = lambda moment: moment.strftime("%a, %d %b %Y %H:%M:%S GMT")
    equal(get(one, prefix, if_match=stored.etag).body.content, BODY)
    equal(get(one, prefix, if_modified_since=date(now - hour)).body.content, BODY)
    refused(lambda: get(one, prefix, if_match='"other"'), "PreconditionFailed")
    refused(lambda: get(one, prefix, if_unmodified_since=date(now - hour)), "PreconditionFailed")


@for_both
def a_list_has_pages_prefixes_and_a_delimiter(one, prefix):
    names = [f"{prefix}/{name}" for name in
             ["a", "b/1", "b/2", "c/d/1", "e", "ü"] + [f"many/{number:03}" for number in range(120)]]
    for name in reversed(names):
        put(one, name, b"x")
    pages = list(one.list_objects_v2_paginator().iter_page(
        oss.ListObjectsV2Request(bucket=BUCKET, prefix=prefix + "/", max_keys=50)))
    equal([found.key for page in pages for found in page.contents or []], sorted(names))
    equal([page.key_count for page in pages], [50, 50, 26])
    pages = list(one.list_objects_paginator().iter_page(
        oss.ListObjectsRequest(bucket=BUCKET, prefix=prefix + "/", delimiter="/", max_keys=2)))
    found = [entry.key for page in pages for entry in page.contents or []]
    prefixes = [entry.prefix for page in pages for entry in page.common_prefixes or []]
    equal((found, prefixes), ([f"{prefix}/{name}" for name in ("a", "e", "ü")],
                              [f"{prefix}/{name}/" for name in ("b", "c", "many")]))


@for_both
def copies_deletes_and_tags_do_what_they_say(one, prefix):
    source, target = prefix + "/sörce", prefix + "/target"
    put(one, source, metadata={"a": "b"}, tagging="one=1")
    one.copy_object(oss.CopyObjectRequest(bucket=BUCKET, key=target, source_bucket=BUCKET, source_key=source))
    found = get(one, target)
    equal((found.body.content, found.metadata["a"]), (BODY, "b"))
    tags = one.get_object_tagging(oss.GetObjectTaggingRequest(bucket=BUCKET, key=target))
    equal([(tag.key, tag.value) for tag in tags.tag_set.tags], [("one", "1")])
    one.delete_object(oss.DeleteObjectRequest(bucket=BUCKET, key=source))
    one.delete_object(oss.DeleteObjectRequest(bucket=BUCKET, key=source))
    refused(lambda: get(one, source), "NoSuchKey")
    names = [f"{prefix}/ü & <{number}>" for number in range(30)]
    for name in names:
        put(one, name, b"x")
    objects = [oss.DeleteObject(key=name) for name in names]
    deleted = one.delete_multiple_objects(oss.DeleteMultipleObjectsRequest(bucket=BUCKET, objects=objects))
    equal(sorted(found.key for found in deleted.deleted_objects), sorted(names))
    left = one.list_objects_v2(oss.ListObjectsV2Request(bucket=BUCKET, prefix=prefix + "/"))
    equal([found.key for found in left.contents], [target])


@for_both
def an_object_is_not_overwritten_when_that_is_forbidden(one, prefix):
    put(one, prefix, b"first", forbid_overwrite=True)
    refused(lambda: put(one, prefix, b"second", forbid_overwrite=True), "FileAlreadyExists")
    initiate = oss.InitiateMultipartUploadRequest(bucket=BUCKET, key=prefix, forbid_overwrite=True)
    refused(lambda: one.initiate_multipart_upload(initiate), "FileAlreadyExists")
    equal(get(one, prefix).body.content, b"first")


@for_both
def an_upload_is_listed_completed_and_aborted(one, prefix):
    key = prefix + "/üpload"
    begun = one.initiate_multipart_upload(oss.InitiateMultipartUploadRequest(
        bucket=BUCKET, key=key, metadata={"a": "b"}, storage_class="IA"))
    pieces = [BODY[:PART], BODY[PART:2 * PART], BODY[2 * PART:]]
    parts = []
    for number, piece in enumerate(pieces, 1):
        done = one.upload_part(oss.UploadPartRequest(
            bucket=BUCKET, key=key, upload_id=begun.upload_id, part_number=number, body=piece))
        equal(done.etag.strip('"').lower(), hashlib.md5(piece).hexdigest())
        parts.append(oss.UploadPart(part_number=number, etag=done.etag))
    copied = one.upload_part_copy(oss.UploadPartCopyRequest(
        bucket=BUCKET, key=key, upload_id=begun.upload_id, part_number=4, source_bucket=BUCKET,
        source_key=put_source(one, prefix), source_range="bytes=0-9"))
    parts.append(oss.UploadPart(part_number=4, etag=copied.etag))
    # The short third part makes a fourth one impossible; without it the upload is right.
    complete = lambda chosen: one.complete_multipart_upload(oss.CompleteMultipartUploadRequest(
        bucket=BUCKET, key=key, upload_id=begun.upload_id,
        complete_multipart_upload=oss.CompleteMultipartUpload(parts=chosen)))
    pages = list(one.list_parts_paginator().iter_page(
        oss.ListPartsRequest(bucket=BUCKET, key=key, upload_id=begun.upload_id, max_parts=2)))
    equal([part.part_number for page in pages for part in page.parts], [1, 2, 3, 4])
    uploads = one.list_multipart_uploads(oss.ListMultipartUploadsRequest(bucket=BUCKET, prefix=prefix))
    equal([(upload.key, upload.upload_id) for upload in uploads.uploads], [(key, begun.upload_id)])
    refused(lambda: complete(parts), "EntityTooSmall")
    refused(lambda: complete([parts[1], parts[0]]), "InvalidPartOrder")
    complete(parts[:3])
    found = get(one, key)
    equal((found.body.content, found.metadata["a"], found.storage_class, found.object_type), (BODY, "b", "IA", "Multipart"))
    refused(lambda: complete(parts[:3]), "NoSuchUpload")
    other = one.initiate_multipart_upload(oss.InitiateMultipartUploadRequest(bucket=BUCKET, key=key))
    abort = oss.AbortMultipartUploadRequest(bucket=BUCKET, key=key, upload_id=other.upload_id)
    one.abort_multipart_upload(abort)
    refused(lambda: one.abort_multipart_upload(abort), "NoSuchUpload")


def put_source(one, prefix):
    put(one, prefix + "/source")
    return prefix + "/source"


@for_both
def an_object_grows_at_its_end(one, prefix):
    append = lambda position, body: one.append_object(oss.AppendObjectRequest(
        bucket=BUCKET, key=prefix, position=position, body=body))
    equal(append(0, b"12345").next_position, 5)
    equal(append(5, b"6789").hash_crc64, "11051210869376104954")
    refused(lambda: append(5, b"x"), "PositionNotEqualToLength")
    equal(get(one, prefix).body.content, b"123456789")


@for_both
def an_archived_object_is_restored_before_it_is_read(one, prefix):
    put(one, prefix, storage_class="Archive")
    refused(lambda: get(one, prefix), "InvalidObjectState")
    restore = lambda: one.restore_object(oss.RestoreObjectRequest(
        bucket=BUCKET, key=prefix, restore_request=oss.RestoreRequest(days=1)))
    equal((restore().status_code, restore().status_code), (202, 200))
    equal(get(one, prefix).body.content, BODY)
    head = one.head_object(oss.HeadObjectRequest(bucket=BUCKET, key=prefix))
    assert 'ongoing-request="false"' in head.restore, head.restore


@for_both
def a_versioned_bucket_keeps_what_is_overwritten(one, prefix):
    bucket = "versions-" + prefix.rsplit("/", 1)[1]
    one.put_bucket(oss.PutBucketRequest(bucket=bucket))
    one.put_bucket_versioning(oss.PutBucketVersioningRequest(
        bucket=bucket, versioning_configuration=oss.VersioningConfiguration(status="Enabled")))
    equal(one.get_bucket_versioning(oss.GetBucketVersioningRequest(bucket=bucket)).version_status, "Enabled")
    ids = [one.put_object(oss.PutObjectRequest(bucket=bucket, key="k", body=text, forbid_overwrite=True)).version_id
           for text in (b"1", b"2")]
    marker = one.delete_object(oss.DeleteObjectRequest(bucket=bucket, key="k"))
    assert marker.delete_marker, marker
    listed = one.list_object_versions(oss.ListObjectVersionsRequest(bucket=bucket))
    equal([version.version_id for version in listed.version], ids[::-1])
    equal([found.version_id for found in listed.delete_marker], [marker.version_id])
    found = one.get_object(oss.GetObjectRequest(bucket=bucket, key="k", version_id=ids[0]))
    equal(found.body.content, b"1")
    for version in ids + [marker.version_id]:
        one.delete_object(oss.DeleteObjectRequest(bucket=bucket, key="k", version_id=version))
    one.delete_bucket(oss.DeleteBucketRequest(bucket=bucket))
    assert not one.is_bucket_exist(bucket)


@for_both
def a_retention_policy_refuses_to_overwrite(one, prefix):
    bucket = "worm-" + prefix.rsplit("/", 1)[1]
    one.put_bucket(oss.PutBucketRequest(bucket=bucket))
    one.initiate_bucket_worm(oss.InitiateBucketWormRequest(
        bucket=bucket, initiate_worm_configuration=oss.InitiateWormConfiguration(retention_period_in_days=1)))
    one.put_object(oss.PutObjectRequest(bucket=bucket, key="k", body=b"1"))
    refused(lambda: one.put_object(oss.PutObjectRequest(bucket=bucket, key="k", body=b"2")), "FileImmutable")
    refused(lambda: one.delete_object(oss.DeleteObjectRequest(bucket=bucket, key="k")), "FileImmutable")
    state = one.get_bucket_worm(oss.GetBucketWormRequest(bucket=bucket)).worm_configuration
    equal((state.state, state.retention_period_in_days), ("InProgress", 1))
    one.abort_bucket_worm(oss.AbortBucketWormRequest(bucket=bucket))
    one.delete_object(oss.DeleteObjectRequest(bucket=bucket, key="k"))


@for_both
def a_signed_url_works_as_signed_only(one, prefix):
    put(one, prefix)
    url = one.presign(oss.GetObjectRequest(bucket=BUCKET, key=prefix), expires=datetime.timedelta(minutes=1)).url
    equal(urllib.request.urlopen(url).read(), BODY)
    try:
        urllib.request.urlopen(url.replace(prefix.split("/")[1], "other"))
    except urllib.error.HTTPError as error:
        equal(error.code, 403)
    else:
        raise AssertionError("a changed URL works")


def what_is_not_signed_right_is_refused():
    for version in CLIENTS:
        for key, code in [((KEY[0], "wrong"), "SignatureDoesNotMatch"), (("nobody", KEY[1]), "InvalidAccessKeyId")]:
            refused(lambda: get(client(version, key), "k"), code)


@for_both
def a_wrong_crc64_is_noticed(one, prefix):
    try:
        put(one, prefix + "/damaged")
    except Exception as error:
        assert "crc" in str(error).lower(), error
    else:
        raise AssertionError("a wrong CRC64 passes")


def buckets_are_described():
    one = CLIENTS["v4"]
    names = [bucket.name for page in one.list_buckets_paginator().iter_page(oss.ListBucketsRequest())
             for bucket in page.buckets]
    assert BUCKET in names, names
    info = one.get_bucket_info(oss.GetBucketInfoRequest(bucket=BUCKET)).bucket_info
    equal((info.name, info.storage_class, info.location), (BUCKET, "Standard", "oss-" + DESCRIPTION["region"]))
    equal(one.get_bucket_location(oss.GetBucketLocationRequest(bucket=BUCKET)).location, "oss-" + DESCRIPTION["region"])
    equal(one.get_bucket_acl(oss.GetBucketAclRequest(bucket=BUCKET)).acl, "private")
    assert one.get_bucket_stat(oss.GetBucketStatRequest(bucket=BUCKET)).object_count > 0


run([an_object_comes_back_with_its_metadata, a_range_is_a_part_of_the_object_or_refused, conditions_decide_what_is_sent,
     a_list_has_pages_prefixes_and_a_delimiter, copies_deletes_and_tags_do_what_they_say,
     an_object_is_not_overwritten_when_that_is_forbidden, an_upload_is_listed_completed_and_aborted,
     an_object_grows_at_its_end, an_archived_object_is_restored_before_it_is_read,
     a_versioned_bucket_keeps_what_is_overwritten, a_retention_policy_refuses_to_overwrite,
     a_signed_url_works_as_signed_only, what_is_not_signed_right_is_refused, a_wrong_crc64_is_noticed,
     buckets_are_described])
