"""Reads what others wrote to OSS and writes for them, through oss2, alibabacloud-oss-v2 and boto3.

Every object is `cross/{writer}/{name}/{SHA-256 of its bytes}`. Prints how many each one read.
"""

import hashlib

import alibabacloud_oss_v2 as oss
import boto3
from botocore.config import Config
import oss2

import sandbox
from sandbox import DESCRIPTION, KEY, equal

BUCKET, ENDPOINT, REGION = (DESCRIPTION[name] for name in ("bucket", "oss_endpoint", "region"))
BODIES = {"plain": b"plain", "späce & plus+%€": b"odd", "empty": b"", "large": bytes(range(256)) * 1_000}
PART = 100 * 1024


class Oss2:
    def __init__(self, version):
        self.bucket = sandbox.bucket(version)

    def keys(self):
        return [found.key for found in oss2.ObjectIteratorV2(self.bucket, prefix="cross/", max_keys=7)]

    def read(self, key):
        return self.bucket.get_object(key).read()

    def write(self, key, body):
        self.bucket.put_object(key, body)

    def upload(self, key, pieces):
        upload_id = self.bucket.init_multipart_upload(key).upload_id
        parts = [oss2.models.PartInfo(number, self.bucket.upload_part(key, upload_id, number, piece).etag)
                 for number, piece in enumerate(pieces, 1)]
        self.bucket.complete_multipart_upload(key, upload_id, parts)


class V2:
    def __init__(self):
        config = oss.config.load_default()
        config.credentials_provider = oss.credentials.StaticCredentialsProvider(*KEY)
        config.endpoint, config.region, config.use_path_style = ENDPOINT, REGION, True
        self.client = oss.Client(config)

    def keys(self):
        request = oss.ListObjectsV2Request(bucket=BUCKET, prefix="cross/", max_keys=7)
        return [found.key for page in self.client.list_objects_v2_paginator().iter_page(request)
                for found in page.contents or []]

    def read(self, key):
        return self.client.get_object(oss.GetObjectRequest(bucket=BUCKET, key=key)).body.content

    def write(self, key, body):
        self.client.put_object(oss.PutObjectRequest(bucket=BUCKET, key=key, body=body))

    def upload(self, key, pieces):
        upload_id = self.client.initiate_multipart_upload(
            oss.InitiateMultipartUploadRequest(bucket=BUCKET, key=key)).upload_id
        part = lambda number, piece: oss.UploadPart(part_number=number, etag=self.client.upload_part(
            oss.UploadPartRequest(bucket=BUCKET, key=key, upload_id=upload_id, part_number=number, body=piece)).etag)
        parts = [part(number, piece) for number, piece in enumerate(pieces, 1)]
        self.client.complete_multipart_upload(oss.CompleteMultipartUploadRequest(
            bucket=BUCKET, key=key, upload_id=upload_id,
            complete_multipart_upload=oss.CompleteMultipartUpload(parts=parts)))


class Boto3:
    def __init__(self):
        self.client = boto3.client(
            "s3", endpoint_url=ENDPOINT, region_name=REGION, aws_access_key_id=KEY[0], aws_secret_access_key=KEY[1],
            config=Config(s3={"addressing_style": "path"}))

    def keys(self):
        pages = self.client.get_paginator("list_objects_v2").paginate(
            Bucket=BUCKET, Prefix="cross/", PaginationConfig={"PageSize": 7})
        return [found["Key"] for page in pages for found in page.get("Contents", [])]

    def read(self, key):
        return self.client.get_object(Bucket=BUCKET, Key=key)["Body"].read()

    def write(self, key, body):
        self.client.put_object(Bucket=BUCKET, Key=key, Body=body)

    def upload(self, key, pieces):
        upload = {"Bucket": BUCKET, "Key": key}
        upload["UploadId"] = self.client.create_multipart_upload(**upload)["UploadId"]
        parts = [{"PartNumber": number,
                  "ETag": self.client.upload_part(**upload, PartNumber=number, Body=piece)["ETag"]}
                 for number, piece in enumerate(pieces, 1)]
        self.client.complete_multipart_upload(**upload, MultipartUpload={"Parts": parts})


WRITERS = {"oss2-v1": Oss2("v1"), "oss2-v4": Oss2("v4"), "alibabacloud-oss-v2": V2(), "boto3": Boto3()}
there = WRITERS["oss2-v4"].keys()
for name, sdk in WRITERS.items():
    equal(sdk.keys(), there)
    for key in there:
        equal(hashlib.sha256(sdk.read(key)).hexdigest(), key.rsplit("/", 1)[1])
    print(f"{name} read {len(there)}")
for name, sdk in WRITERS.items():
    for kind, body in BODIES.items():
        key = f"cross/{name}/{kind}/{hashlib.sha256(body).hexdigest()}"
        if kind == "large":
            sdk.upload(key, [body[:PART], body[PART:2 * PART], body[2 * PART:]])
        else:
            sdk.write(key, body)
