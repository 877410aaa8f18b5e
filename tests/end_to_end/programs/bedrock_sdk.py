"""An unmodified program with boto3 for Amazon Bedrock. It knows no gateway; it prints what it got, one JSON object a line."""

import json
import sys

import boto3
from botocore.exceptions import ClientError

MODEL = "us.anthropic.claude-haiku-4-5-20251001-v1:0"
HELLO = [{"role": "user", "content": [{"text": "hello there"}]}]
OLD = json.dumps({"prompt": "\n\nHuman: hello there\n\nAssistant:", "max_tokens_to_sample": 100})

client = boto3.client("bedrock-runtime")


def converse(model):
    answer = client.converse(modelId=model, messages=HELLO, inferenceConfig={"maxTokens": 100})
    return answer["output"]["message"]["content"][0]["text"]


def converse_stream(model):
    answer = client.converse_stream(modelId=model, messages=HELLO, inferenceConfig={"maxTokens": 100})
    return "".join(event.get("contentBlockDelta", {}).get("delta", {}).get("text", "") for event in answer["stream"])


def invoke_model(model):
    return json.loads(client.invoke_model(modelId=model, body=OLD)["body"].read())["completion"]


def invoke_model_with_response_stream(model):
    answer = client.invoke_model_with_response_stream(modelId=model, body=OLD)
    return "".join(json.loads(event["chunk"]["bytes"])["completion"] for event in answer["body"])


def say(operation, model):
    try:
        print(json.dumps({"what": operation.__name__, "text": operation(model)}))
    except ClientError as error:
        status = error.response["ResponseMetadata"]["HTTPStatusCode"]
        print(json.dumps({"what": operation.__name__, "error": type(error).__name__, "status": status, "message": str(error)}))


ALL = (converse, converse_stream, invoke_model, invoke_model_with_response_stream)

if len(sys.argv) == 1:
    for each in ALL:
        say(each, MODEL)
else:
    for _ in range(int(sys.argv[2])):
        for each in ALL:
            say(each, sys.argv[1])
