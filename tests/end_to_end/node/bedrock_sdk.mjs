// An unmodified program with the AWS SDK for Amazon Bedrock. It knows no gateway; it prints what it got, one JSON object a line.
import {
  BedrockRuntimeClient,
  BedrockRuntimeServiceException,
  ConverseCommand,
  ConverseStreamCommand,
  InvokeModelCommand,
  InvokeModelWithResponseStreamCommand,
} from "@aws-sdk/client-bedrock-runtime";

const messages = [{ role: "user", content: [{ text: "hello there" }] }];
const body = JSON.stringify({ prompt: "\n\nHuman: hello there\n\nAssistant:", max_tokens_to_sample: 100 });
const inferenceConfig = { maxTokens: 100 };
const say = (what) => console.log(JSON.stringify(what));
const client = new BedrockRuntimeClient();

const all = {
  converse: async (modelId) => {
    const answer = await client.send(new ConverseCommand({ modelId, messages, inferenceConfig }));
    return answer.output.message.content[0].text;
  },
  converse_stream: async (modelId) => {
    let text = "";
    const answer = await client.send(new ConverseStreamCommand({ modelId, messages, inferenceConfig }));
    for await (const event of answer.stream) text += event.contentBlockDelta?.delta.text ?? "";
    return text;
  },
  invoke_model: async (modelId) => {
    const answer = await client.send(new InvokeModelCommand({ modelId, body, contentType: "application/json" }));
    return JSON.parse(answer.body.transformToString()).completion;
  },
  invoke_model_with_response_stream: async (modelId) => {
    let text = "";
    const answer = await client.send(new InvokeModelWithResponseStreamCommand({ modelId, body, contentType: "application/json" }));
    for await (const event of answer.body) text += JSON.parse(Buffer.from(event.chunk.bytes).toString()).completion;
    return text;
  },
};

const [model = "us.anthropic.claude-haiku-4-5-20251001-v1:0", times = 1] = process.argv.slice(2);
for (let time = 0; time < Number(times); time++) {
  for (const [what, ask] of Object.entries(all)) {
    try {
      say({ what, text: await ask(model) });
    } catch (error) {
      if (!(error instanceof BedrockRuntimeServiceException)) throw error;
      say({ what, error: error.name, status: error.$metadata.httpStatusCode, message: error.message });
    }
  }
}
