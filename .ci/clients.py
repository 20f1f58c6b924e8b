"""boto3, the aws CLI and mayfly's own commands against a server; any difference from Lambda is an assertion."""

import base64
import hashlib
import io
import json
import pathlib
import re
import subprocess
import sys
import tempfile
import time
import urllib.request
import zipfile

import boto3
import botocore.config
import botocore.exceptions

ENDPOINT, AWS, MAYFLY = sys.argv[1:]
ROLE = "arn:aws:iam::000000000000:role/clients"
ARN = "arn:aws:lambda:us-east-1:000000000000:function:"
WAIT = {"Delay": 1, "MaxAttempts": 60}

client = boto3.client(
    "lambda",
    endpoint_url=ENDPOINT,
    region_name="us-east-1",
    config=botocore.config.Config(retries={"total_max_attempts": 1}, connect_timeout=5, read_timeout=60),
)


def package(code):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("app.py", code)
    return buffer.getvalue()


FIRST = package('''
import json
print("imported")
def handler(event, context):
    if event.get("fail"):
        raise ValueError("as asked")
    print("got", json.dumps(event, sort_keys=True))
    return {"version": 1, "event": event, "request_id": context.aws_request_id, "arn": context.invoked_function_arn}
''')
SECOND = package('def handler(event, context):\n    return {"version": 2}\n')


def create(name, **more):
    arguments = {
        "FunctionName": name,
        "Runtime": "rustpython",
        "Role": ROLE,
        "Handler": "app.handler",
        "Code": {"ZipFile": FIRST},
    }
    return client.create_function(**{**arguments, **more})


def refused(exception, text, call, **arguments):
    """Calls, and expects botocore to raise that exception with that text in it."""
    try:
        call(**arguments)
    except exception as error:
        assert text in str(error), f"{error!r} does not say {text!r}"
        return error.response
    raise AssertionError(f"{call.__name__} was not refused with {exception.__name__}")


def check_life_of_a_function():
    created = create("boto", Description="d", Environment={"Variables": {"A_B": "c"}}, Tags={"team": "x"})
    assert created["ResponseMetadata"]["HTTPStatusCode"] == 201
    assert created["State"] == "Pending" and created["StateReasonCode"] == "Creating", created
    assert "LastUpdateStatus" not in created and created["FunctionArn"] == ARN + "boto"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+0000", created["LastModified"])
    client.get_waiter("function_active_v2").wait(FunctionName="boto", WaiterConfig=WAIT)

    found = client.get_function(FunctionName="boto")
    configuration = found["Configuration"]
    expected = {
        "State": "Active", "LastUpdateStatus": "Successful", "Timeout": 3, "MemorySize": 128, "Version": "$LATEST",
        "PackageType": "Zip", "Architectures": ["x86_64"], "EphemeralStorage": {"Size": 512},
        "TracingConfig": {"Mode": "PassThrough"}, "Environment": {"Variables": {"A_B": "c"}}, "CodeSize": len(FIRST),
        "CodeSha256": base64.b64encode(hashlib.sha256(FIRST).digest()).decode(), "Description": "d",
        "SnapStart": {"ApplyOn": "None", "OptimizationStatus": "Off"},
        "LoggingConfig": {"LogFormat": "Text", "LogGroup": "/aws/lambda/boto"},
    }
    for key, value in expected.items():
        assert configuration[key] == value, (key, configuration.get(key))
    assert "Layers" not in configuration and "Concurrency" not in found and found["Tags"] == {"team": "x"}
    assert configuration["RevisionId"] != created["RevisionId"]
    with urllib.request.urlopen(found["Code"]["Location"], timeout=10) as answer:
        assert answer.read() == FIRST

    update = client.update_function_code(FunctionName="boto", ZipFile=SECOND, RevisionId=configuration["RevisionId"])
    assert (update["State"], update["LastUpdateStatus"]) == ("Active", "InProgress"), update
    client.get_waiter("function_updated_v2").wait(FunctionName="boto", WaiterConfig=WAIT)
    assert json.load(client.invoke(FunctionName="boto")["Payload"]) == {"version": 2}

    client.update_function_configuration(FunctionName="boto", Timeout=5, MemorySize=256)
    client.get_waiter("function_updated_v2").wait(FunctionName="boto", WaiterConfig=WAIT)
    changed = client.get_function_configuration(FunctionName="boto")
    assert (changed["Timeout"], changed["MemorySize"], changed["Description"]) == (5, 256, "d")

    assert client.delete_function(FunctionName="boto")["ResponseMetadata"]["HTTPStatusCode"] == 204
    refused(client.exceptions.ResourceNotFoundException, ARN + "boto", client.get_function, FunctionName="boto")


def check_invoke():
    create("invoked")
    client.get_waiter("function_active_v2").wait(FunctionName="invoked", WaiterConfig=WAIT)
    answer = client.invoke(FunctionName="invoked", Payload=b'{"a": [1, "\xc3\xa4"]}', LogType="Tail")
    payload = json.load(answer["Payload"])
    request_id = answer["ResponseMetadata"]["RequestId"]
    assert payload == {"version": 1, "event": {"a": [1, "ä"]}, "request_id": request_id, "arn": ARN + "invoked"}, payload
    assert answer["StatusCode"] == 200 and answer["ExecutedVersion"] == "$LATEST" and "FunctionError" not in answer
    log = base64.b64decode(answer["LogResult"]).decode()
    for line in (f"START RequestId: {request_id} Version: $LATEST", "got {", f"END RequestId: {request_id}", "REPORT"):
        assert line in log, log

    failed = client.invoke(FunctionName="invoked", Payload=b'{"fail": true}')
    assert failed["StatusCode"] == 200 and failed["FunctionError"] == "Unhandled" and "LogResult" not in failed
    error = json.load(failed["Payload"])
    assert (error["errorType"], error["errorMessage"]) == ("ValueError", "as asked"), error
    assert error["requestId"] == failed["ResponseMetadata"]["RequestId"] and error["stackTrace"]

    for name in (ARN + "invoked", "000000000000:function:invoked", ARN + "invoked:$LATEST"):
        assert json.load(client.invoke(FunctionName=name)["Payload"])["event"] == {}
    assert client.invoke(FunctionName="invoked", InvocationType="DryRun")["StatusCode"] == 204
    client.delete_function(FunctionName="invoked")


def check_lists():
    names = [f"list-{number:02}" for number in range(5)]
    for name in names:
        create(name)
    pages = list(client.get_paginator("list_functions").paginate(PaginationConfig={"PageSize": 2}))
    found = [function["FunctionName"] for page in pages for function in page["Functions"]]
    assert [name for name in found if name.startswith("list-")] == names and len(pages) == 3, found
    assert "State" not in pages[0]["Functions"][0]
    versions = client.list_versions_by_function(FunctionName="list-00")["Versions"]
    assert [version["FunctionArn"] for version in versions] == [ARN + "list-00:$LATEST"]
    for name in names:
        client.get_waiter("function_active_v2").wait(FunctionName=name, WaiterConfig=WAIT)
        client.delete_function(FunctionName=name)


def check_errors():
    e = client.exceptions
    create("errors")
    refused(e.ResourceConflictException, "Function already exist: errors", create, name="errors")
    client.get_waiter("function_active_v2").wait(FunctionName="errors", WaiterConfig=WAIT)
    missing = ARN + "missing"
    response = refused(e.ResourceNotFoundException, f"Function not found: {missing}:$LATEST", client.invoke, FunctionName="missing")
    assert response["Type"] == "User" and response["Message"].startswith("Function not found")
    refused(e.ResourceNotFoundException, f"Function not found: {missing}", client.delete_function, FunctionName="missing")
    refused(e.InvalidRequestContentException, "Could not parse request body into json", client.invoke, FunctionName="errors", Payload=b"{")
    refused(e.InvalidParameterValueException, "Could not unzip uploaded file", create, name="zip", Code={"ZipFile": b"no"})
    refused(e.InvalidParameterValueException, "Could not unzip uploaded file", client.update_function_code, FunctionName="errors", ZipFile=b"no")
    refused(e.InvalidParameterValueException, "exceeded the 4KB limit", create, name="env", Environment={"Variables": {"LARGE": "x" * 4096}})
    refused(e.InvalidParameterValueException, "reserved keys", create, name="env", Environment={"Variables": {"AWS_REGION": "x"}})
    refused(e.InvalidParameterValueException, "not available", client.invoke, FunctionName="errors", InvocationType="Event")
    refused(e.PreconditionFailedException, "Revision Id", client.update_function_code, FunctionName="errors", ZipFile=SECOND, RevisionId="x")
    general = botocore.exceptions.ClientError
    response = refused(general, "'901' at 'timeout'", create, name="long", Timeout=901)
    assert response["Error"]["Code"] == "ValidationException" and response["ResponseMetadata"]["HTTPStatusCode"] == 400
    response = refused(general, "too large", client.invoke, FunctionName="errors", Payload=b'"' + b"x" * 6291556 + b'"')
    assert response["ResponseMetadata"]["HTTPStatusCode"] == 413, response
    response = refused(general, "PublishVersion is not available", client.publish_version, FunctionName="errors")
    assert response["ResponseMetadata"]["HTTPStatusCode"] == 501
    assert client.get_function_code_signing_config(FunctionName="errors").get("CodeSigningConfigArn") is None
    client.put_function_concurrency(FunctionName="errors", ReservedConcurrentExecutions=0)
    response = refused(e.TooManyRequestsException, "Rate Exceeded.", client.invoke, FunctionName="errors")
    assert response["Reason"] == "ReservedFunctionConcurrentInvocationLimitExceeded", response
    assert int(response["ResponseMetadata"]["HTTPHeaders"]["retry-after"]) >= 1
    client.delete_function_concurrency(FunctionName="errors")
    assert client.invoke(FunctionName="errors")["StatusCode"] == 200
    client.tag_resource(Resource=ARN + "errors", Tags={"a": "1", "b": "2"})
    client.untag_resource(Resource=ARN + "errors", TagKeys=["a"])
    assert client.list_tags(Resource=ARN + "errors")["Tags"] == {"b": "2"}
    client.delete_function(FunctionName="errors")


def provisioned(name):
    """Waits until all machines are there."""
    for _ in range(600):
        config = client.get_provisioned_concurrency_config(FunctionName=name, Qualifier="$LATEST")
        assert config["Status"] in ("IN_PROGRESS", "READY"), config
        if config["Status"] == "READY":
            return config
        time.sleep(0.05)
    raise AssertionError(config)


def check_provisioned_concurrency():
    e = client.exceptions
    create("provisioned")
    client.get_waiter("function_active_v2").wait(FunctionName="provisioned", WaiterConfig=WAIT)
    latest = {"FunctionName": "provisioned", "Qualifier": "$LATEST"}
    missing = "No Provisioned Concurrency Config found for this function"
    refused(e.ProvisionedConcurrencyConfigNotFoundException, missing, client.get_provisioned_concurrency_config, **latest)
    put = client.put_provisioned_concurrency_config(ProvisionedConcurrentExecutions=2, **latest)
    assert put["ResponseMetadata"]["HTTPStatusCode"] == 202 and put["RequestedProvisionedConcurrentExecutions"] == 2, put
    config = provisioned("provisioned")
    counts = [config[f"{kind}ProvisionedConcurrentExecutions"] for kind in ("Requested", "Allocated", "Available")]
    assert counts == [2, 2, 2] and "StatusReason" not in config, config
    assert config["LastModified"] == put["LastModified"], (config, put)
    pages = client.get_paginator("list_provisioned_concurrency_configs").paginate(FunctionName="provisioned")
    assert [one["FunctionArn"] for page in pages for one in page["ProvisionedConcurrencyConfigs"]] == [ARN + "provisioned:$LATEST"]
    assert client.invoke(FunctionName="provisioned")["StatusCode"] == 200
    put = client.put_provisioned_concurrency_config
    refused(e.InvalidParameterValueException, "instances of a function", put, ProvisionedConcurrentExecutions=101, **latest)
    refused(e.ResourceNotFoundException, "provisioned:3", put, FunctionName="provisioned", Qualifier="3", ProvisionedConcurrentExecutions=1)
    reserve = {"FunctionName": "provisioned", "ReservedConcurrentExecutions": 1}
    refused(e.InvalidParameterValueException, "total provisioned concurrency [2]", client.put_function_concurrency, **reserve)
    assert client.delete_provisioned_concurrency_config(**latest)["ResponseMetadata"]["HTTPStatusCode"] == 204
    refused(e.ProvisionedConcurrencyConfigNotFoundException, missing, client.delete_provisioned_concurrency_config, **latest)
    client.delete_function(FunctionName="provisioned")


def check_layers():
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("python/shared.py", "WHO = 'layer'\n")
    content, arn = content.getvalue(), ARN.replace(":function:", ":layer:") + "boto"
    published = client.publish_layer_version(
        LayerName="boto", Description="d", Content={"ZipFile": content}, CompatibleRuntimes=["python3.12"], LicenseInfo="MIT"
    )
    assert published["ResponseMetadata"]["HTTPStatusCode"] == 201
    expected = {
        "LayerArn": arn, "LayerVersionArn": f"{arn}:1", "Version": 1, "Description": "d", "LicenseInfo": "MIT",
        "CompatibleRuntimes": ["python3.12"],
    }
    for found in (published, client.get_layer_version(LayerName=arn, VersionNumber=1), client.get_layer_version_by_arn(Arn=f"{arn}:1")):
        assert {key: found[key] for key in expected} == expected and "CompatibleArchitectures" not in found, found
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+0000", found["CreatedDate"])
        with urllib.request.urlopen(found["Content"]["Location"], timeout=10) as answer:
            assert answer.read() == content
        assert found["Content"]["CodeSha256"] == base64.b64encode(hashlib.sha256(content).digest()).decode()
    for _ in range(2):
        client.publish_layer_version(LayerName="boto", Content={"ZipFile": content})
    pages = client.get_paginator("list_layer_versions").paginate(LayerName="boto", PaginationConfig={"PageSize": 2})
    assert [version["Version"] for page in pages for version in page["LayerVersions"]] == [3, 2, 1]
    assert client.list_layers()["Layers"][0]["LatestMatchingVersion"]["Version"] == 3
    layer = {"Layers": [f"{arn}:1"], "Code": {"ZipFile": package("import shared\ndef handler(event, context):\n    return shared.WHO\n")}}
    assert create("layered", **layer)["Layers"] == [{"Arn": f"{arn}:1", "CodeSize": len(content)}]
    client.get_waiter("function_active_v2").wait(FunctionName="layered", WaiterConfig=WAIT)
    assert json.load(client.invoke(FunctionName="layered")["Payload"]) == "layer"
    refused(client.exceptions.ResourceNotFoundException, "No policy is associated", client.get_layer_version_policy, LayerName="boto", VersionNumber=1)
    refused(client.exceptions.InvalidParameterValueException, f"Layer version {arn}:9 does not exist.", create, name="none", Layers=[f"{arn}:9"])
    for version in (1, 2, 3):
        client.delete_layer_version(LayerName="boto", VersionNumber=version)
    assert client.list_layers()["Layers"] == []
    assert json.load(client.invoke(FunctionName="layered")["Payload"]) == "layer"
    assert client.update_function_configuration(FunctionName="layered", Layers=[]).get("Layers") is None
    client.get_waiter("function_updated_v2").wait(FunctionName="layered", WaiterConfig=WAIT)
    client.delete_function(FunctionName="layered")


def aws(*arguments):
    command = [AWS, "--endpoint-url", ENDPOINT, "--region", "us-east-1", "--output", "json", "lambda", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=90)
    assert done.returncode == 0, f"{arguments}: {done.stderr}"
    return json.loads(done.stdout) if done.stdout.strip() else None


def check_aws_cli(folder):
    archive, out = folder / "app.zip", folder / "out.json"
    archive.write_bytes(FIRST)
    aws("create-function", "--function-name", "cli", "--runtime", "rustpython", "--role", ROLE, "--handler", "app.handler",
        "--zip-file", f"fileb://{archive}")
    aws("wait", "function-active-v2", "--function-name", "cli")
    # Version 2 of the CLI takes payloads in base64 unless told otherwise; version 1 does not know the flag.
    shown = aws("invoke", "--function-name", "cli", "--payload", '{"x": 1}', "--log-type", "Tail", str(out))
    assert shown["StatusCode"] == 200 and shown["LogResult"], shown
    assert json.loads(out.read_text())["event"] == {"x": 1}
    archive.write_bytes(SECOND)
    aws("update-function-code", "--function-name", "cli", "--zip-file", f"fileb://{archive}")
    aws("wait", "function-updated-v2", "--function-name", "cli")
    assert [f["FunctionName"] for f in aws("list-functions")["Functions"]] == ["cli"]
    layer = aws("publish-layer-version", "--layer-name", "cli", "--zip-file", f"fileb://{archive}", "--compatible-runtimes", "python3.12")
    aws("update-function-configuration", "--function-name", "cli", "--layers", layer["LayerVersionArn"])
    aws("wait", "function-updated-v2", "--function-name", "cli")
    assert aws("get-function", "--function-name", "cli")["Configuration"]["Layers"][0]["Arn"] == layer["LayerVersionArn"]
    aws("delete-layer-version", "--layer-name", "cli", "--version-number", str(layer["Version"]))
    aws("delete-function", "--function-name", "cli")


def mayfly(*arguments, status=0):
    done = subprocess.run([MAYFLY, *arguments, "--endpoint", ENDPOINT], capture_output=True, text=True, timeout=90)
    assert done.returncode == status, f"{arguments}: {done.stdout}{done.stderr}"
    return done.stdout + done.stderr


def check_own_commands(folder):
    code = folder / "own"
    code.mkdir()
    (code / "handler.py").write_text('def handler(event, context):\n    print("a line")\n    return event["n"] + 1\n')
    assert "created" in mayfly("deploy", str(code))
    assert "updated" in mayfly("deploy", str(code), "--timeout", "9")
    assert mayfly("invoke", "own", '{"n": 41}').strip() == "42"
    assert "KeyError" in mayfly("invoke", "own", "{}", status=1)
    mayfly("deploy", str(code), "--provisioned", "2")
    assert re.search(r"^own .* 2 of 2 ", mayfly("list"), re.MULTILINE)
    mayfly("deploy", str(code), "--provisioned", "0")
    assert re.search(r"^own .* - ", mayfly("list"), re.MULTILINE)
    assert "a line" in mayfly("logs", "own")
    mayfly("delete", "own")
    assert "Function not found" in mayfly("invoke", "own", status=1)


def main():
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        for check, arguments in (
            (check_life_of_a_function, ()),
            (check_invoke, ()),
            (check_lists, ()),
            (check_errors, ()),
            (check_provisioned_concurrency, ()),
            (check_layers, ()),
            (check_aws_cli, (folder,)),
            (check_own_commands, (folder,)),
        ):
            check(*arguments)
            print(f"clients: {check.__name__} ok", flush=True)


main()
