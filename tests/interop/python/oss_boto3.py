"""The S3-compatible face of OSS through boto3, which signs with SigV4, hashes its bodies and sends checksums."""

import hashlib
import urllib.error
import urllib.request

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

from sandbox import DESCRIPTION, KEY, equal, run

BUCKET = DESCRIPTION["bucket"]
BODY = bytes(range(256)) * 1_000
PART = 100 * 1024


def client(key=KEY, region=DESCRIPTION["region"]):
    config = Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 1})
    return boto3.client("s3", endpoint_url=DESCRIPTION["oss_endpoint"], region_name=region, config=config,
                        aws_access_key_id=key[0], aws_secret_access_key=key[1])


S3 = client()


def refused(call, code, status=None):
    try:
        call()
    except ClientError as error:
        found = error.response["Error"]["Code"]
        assert found == code, found
        assert status in (None, error.response["ResponseMetadata"]["HTTPStatusCode"]), error.response
        assert error.response["ResponseMetadata"]["RequestId"], error.response
    else:
        raise AssertionError(f"it was not refused with {code}")


def put(key, body=BODY, **more):
    return S3.put_object(Bucket=BUCKET, Key=key, Body=body, **more)


def get(key, **more):
    return S3.get_object(Bucket=BUCKET, Key=key, **more)


def an_object_comes_back_with_its_metadata():
    for name in ("plain", "späce & plus+%/€", "a//b", "empty"):
        body = b"" if name == "empty" else BODY
        stored = put(f"boto3/{name}", body, Metadata={"origin": "EWR"}, ContentType="text/x")
        found = get(f"boto3/{name}")
        equal((found["Body"].read(), found["Metadata"], found["ContentType"], found["ETag"]),
              (body, {"origin": "EWR"}, "text/x", stored["ETag"]))
        equal(stored["ETag"].strip('"').lower(), hashlib.md5(body).hexdigest())
        head = S3.head_object(Bucket=BUCKET, Key=f"boto3/{name}")
        equal((head["ContentLength"], head["Metadata"]), (len(body), {"origin": "EWR"}))
    refused(lambda: S3.head_object(Bucket=BUCKET, Key="boto3/nothing"), "404")
    refused(lambda: get("boto3/nothing"), "NoSuchKey")


def a_range_is_a_part_of_the_object_or_refused():
    put("boto3/range")
    for wanted, expected in [("bytes=0-0", BODY[:1]), ("bytes=100-199", BODY[100:200]), ("bytes=255000-", BODY[255_000:]),
                             ("bytes=-10", BODY[-10:]), ("bytes=255990-999999", BODY[255_990:])]:
        found = get("boto3/range", Range=wanted)
        equal((found["ResponseMetadata"]["HTTPStatusCode"], found["Body"].read()), (206, expected))
    refused(lambda: get("boto3/range", Range="bytes=256000-"), "InvalidRange", 416)


def conditions_decide_what_is_sent_and_stored():
    stored = put("boto3/once", b"first", IfNoneMatch="*")
    refused(lambda: put("boto3/once", b"second", IfNoneMatch="*"), "PreconditionFailed", 412)
    refused(lambda: put("boto3/once", b"second", IfMatch='"x"'), "NotImplemented", 501)
    equal(get("boto3/once", IfMatch=stored["ETag"])["Body"].read(), b"first")
    refused(lambda: get("boto3/once", IfMatch='"x"'), "PreconditionFailed", 412)
    refused(lambda: get("boto3/once", IfNoneMatch=stored["ETag"]), "304", 304)


def a_list_has_pages_prefixes_and_a_delimiter():
    names = [f"boto3-list/{name}" for name in
             ["a", "b/1", "b/2", "c/d/1", "e", "ü +&"] + [f"many/{number:03}" for number in range(120)]]
    for name in reversed(names):
        put(name, b"x")
    for operation in ("list_objects", "list_objects_v2"):
        pages = list(S3.get_paginator(operation).paginate(
            Bucket=BUCKET, Prefix="boto3-list/", PaginationConfig={"PageSize": 50}))
        equal([found["Key"] for page in pages for found in page["Contents"]], sorted(names))
        pages = list(S3.get_paginator(operation).paginate(
            Bucket=BUCKET, Prefix="boto3-list/", Delimiter="/", PaginationConfig={"PageSize": 2}))
        equal([found["Prefix"] for page in pages for found in page.get("CommonPrefixes", [])],
              [f"boto3-list/{name}/" for name in ("b", "c", "many")])
    equal({found["StorageClass"] for page in pages for found in page.get("Contents", [])}, {"STANDARD"})


def copies_and_deletes_do_what_they_say():
    put("boto3/sörce", Metadata={"a": "b"}, Tagging="one=1")
    S3.copy_object(Bucket=BUCKET, Key="boto3/target", CopySource={"Bucket": BUCKET, "Key": "boto3/sörce"})
    found = get("boto3/target")
    equal((found["Body"].read(), found["Metadata"]), (BODY, {"a": "b"}))
    equal(S3.get_object_tagging(Bucket=BUCKET, Key="boto3/target")["TagSet"], [{"Key": "one", "Value": "1"}])
    S3.delete_object(Bucket=BUCKET, Key="boto3/sörce")
    S3.delete_object(Bucket=BUCKET, Key="boto3/sörce")
    names = [f"boto3-many/ü & <{number}>" for number in range(30)]
    for name in names:
        put(name, b"x")
    deleted = S3.delete_objects(Bucket=BUCKET, Delete={"Objects": [{"Key": name} for name in names]})
    equal(sorted(found["Key"] for found in deleted["Deleted"]), sorted(names))
    equal(S3.list_objects_v2(Bucket=BUCKET, Prefix="boto3-many/")["KeyCount"], 0)


def an_upload_is_listed_completed_and_aborted():
    key = "boto3/üpload"
    upload = {"Bucket": BUCKET, "Key": key}
    upload["UploadId"] = S3.create_multipart_upload(**upload, Metadata={"a": "b"}, StorageClass="STANDARD_IA")["UploadId"]
    parts = []
    for number, piece in enumerate([BODY[:PART], BODY[PART:2 * PART], BODY[2 * PART:]], 1):
        done = S3.upload_part(**upload, PartNumber=number, Body=piece)
        parts.append({"PartNumber": number, "ETag": done["ETag"]})
    equal([part["PartNumber"] for page in S3.get_paginator("list_parts").paginate(
        **upload, PaginationConfig={"PageSize": 2}) for part in page["Parts"]], [1, 2, 3])
    uploads = S3.list_multipart_uploads(Bucket=BUCKET, Prefix=key)["Uploads"]
    equal([(found["Key"], found["UploadId"]) for found in uploads], [(key, upload["UploadId"])])
    complete = lambda chosen, **more: S3.complete_multipart_upload(**upload, MultipartUpload={"Parts": chosen}, **more)
    refused(lambda: complete(parts[1:] + parts[:1]), "InvalidPartOrder")
    refused(lambda: complete([{"PartNumber": 1, "ETag": parts[2]["ETag"]}]), "InvalidPart")
    complete(parts, IfNoneMatch="*")
    found = get(key)
    equal((found["Body"].read(), found["Metadata"], found["StorageClass"]), (BODY, {"a": "b"}, "STANDARD_IA"))
    upload["UploadId"] = S3.create_multipart_upload(Bucket=BUCKET, Key=key)["UploadId"]
    copied = S3.upload_part_copy(**upload, PartNumber=1, CopySource={"Bucket": BUCKET, "Key": key},
                                 CopySourceRange="bytes=0-9")
    equal(copied["CopyPartResult"]["ETag"].strip('"').lower(), hashlib.md5(BODY[:10]).hexdigest())
    only = [{"PartNumber": 1, "ETag": copied["CopyPartResult"]["ETag"]}]
    refused(lambda: complete(only, IfNoneMatch="*"), "PreconditionFailed", 412)
    S3.abort_multipart_upload(**upload)
    refused(lambda: S3.abort_multipart_upload(**upload), "NoSuchUpload", 404)


def archives_versions_and_buckets_are_as_the_s3_face_names_them():
    put("boto3/cold", StorageClass="GLACIER", ServerSideEncryption="AES256")
    refused(lambda: get("boto3/cold"), "InvalidObjectState", 403)
    S3.restore_object(Bucket=BUCKET, Key="boto3/cold", RestoreRequest={"Days": 1})
    head = S3.head_object(Bucket=BUCKET, Key="boto3/cold")
    equal((head["StorageClass"], head["ServerSideEncryption"]), ("GLACIER", "AES256"))
    assert 'ongoing-request="false"' in head["Restore"], head
    refused(lambda: put("boto3/hot", StorageClass="DEEP_ARCHIVE"), "InvalidStorageClass")
    S3.create_bucket(Bucket="boto3-versions")
    S3.put_bucket_versioning(Bucket="boto3-versions", VersioningConfiguration={"Status": "Enabled"})
    equal(S3.get_bucket_versioning(Bucket="boto3-versions")["Status"], "Enabled")
    ids = [S3.put_object(Bucket="boto3-versions", Key="k", Body=text)["VersionId"] for text in (b"1", b"2")]
    marker = S3.delete_object(Bucket="boto3-versions", Key="k")
    assert marker["DeleteMarker"], marker
    listed = S3.list_object_versions(Bucket="boto3-versions")
    equal([version["VersionId"] for version in listed["Versions"]], ids[::-1])
    equal([found["VersionId"] for found in listed["DeleteMarkers"]], [marker["VersionId"]])
    equal(S3.get_object(Bucket="boto3-versions", Key="k", VersionId=ids[0])["Body"].read(), b"1")
    refused(lambda: S3.delete_bucket(Bucket="boto3-versions"), "BucketNotEmpty", 409)
    assert {"boto3-versions", BUCKET} <= {found["Name"] for found in S3.list_buckets()["Buckets"]}
    equal(S3.head_bucket(Bucket=BUCKET)["ResponseMetadata"]["HTTPStatusCode"], 200)


def a_signed_url_works_as_signed_only():
    put("boto3/url")
    url = S3.generate_presigned_url("get_object", {"Bucket": BUCKET, "Key": "boto3/url"}, ExpiresIn=60)
    assert "X-Amz-Signature" in url, url
    equal(urllib.request.urlopen(url).read(), BODY)
    for changed in (url.replace("boto3/url", "boto3/other"), url.replace("=60", "=61")):
        try:
            urllib.request.urlopen(changed)
        except urllib.error.HTTPError as error:
            equal(error.code, 403)
        else:
            raise AssertionError("a changed URL works")


def what_is_not_signed_right_is_refused():
    read = lambda other: lambda: other.get_object(Bucket=BUCKET, Key="k")
    refused(read(client((KEY[0], "wrong"))), "SignatureDoesNotMatch", 403)
    refused(read(client(("nobody", KEY[1]))), "InvalidAccessKeyId", 403)
    refused(read(client(region="us-east-1")), "InvalidArgument", 400)
    refused(lambda: put("boto3/checked", ChecksumSHA256="A" * 43 + "="), "BadDigest", 400)
    refused(lambda: put("boto3/checked", ContentMD5="A" * 22 + "=="), "InvalidDigest", 400)


run([an_object_comes_back_with_its_metadata, a_range_is_a_part_of_the_object_or_refused,
     conditions_decide_what_is_sent_and_stored, a_list_has_pages_prefixes_and_a_delimiter,
     copies_and_deletes_do_what_they_say, an_upload_is_listed_completed_and_aborted,
     archives_versions_and_buckets_are_as_the_s3_face_names_them, a_signed_url_works_as_signed_only,
     what_is_not_signed_right_is_refused])
