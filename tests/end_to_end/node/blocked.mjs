// The official Node SDKs, unmodified, each asking for models that are refused, and for streams that are cut. One JSON object for each.
import { createAnthropic } from "@ai-sdk/anthropic";
import { createGoogleGenerativeAI } from "@ai-sdk/google";
import { createOpenAI } from "@ai-sdk/openai";
import Anthropic from "@anthropic-ai/sdk";
import {
  BedrockRuntimeClient,
  ConverseCommand,
  ConverseStreamCommand,
  InvokeModelCommand,
  InvokeModelWithResponseStreamCommand,
} from "@aws-sdk/client-bedrock-runtime";
import { generateText, streamText } from "ai";
import OpenAI from "openai";

const messages = [{ role: "user", content: "hello there" }];
const talk = [{ role: "user", content: [{ text: "hello there" }] }];
const body = JSON.stringify({ prompt: "\n\nHuman: hello there\n\nAssistant:", max_tokens_to_sample: 5000 });
const contentType = "application/json";
const prompt = "hello there";
const door = process.env.DOOR;
const openai = new OpenAI(), claude = new Anthropic(), amazon = new BedrockRuntimeClient();
const ai = {
  gemini: createGoogleGenerativeAI({ baseURL: `${door}/gemini/v1beta` }),
  openai: createOpenAI({ baseURL: `${door}/openai/v1` }),
  "openai chat": (id) => createOpenAI({ baseURL: `${door}/openai/v1` }).chat(id),
  anthropic: createAnthropic({ baseURL: `${door}/anthropic/v1` }),
};

async function* texts(model) {
  const failures = [];
  const stream = streamText({ model, prompt, onError: ({ error }) => { failures.push(error); } });
  for await (const part of stream.fullStream) {
    if (part.type === "error") {  // a provider's own error in a stream is passed on as it came
      throw part.error instanceof Error ? part.error : Object.assign(new Error(JSON.stringify(part.error)), { name: "error part" });
    }
    yield part;
  }
}

const whole = {
  "openai chat": (model) => openai.chat.completions.create({ model, messages }),
  "openai responses": (model) => openai.responses.create({ model, input: prompt }),
  "anthropic messages": (model) => claude.messages.create({ model, max_tokens: 100, messages }),
  "bedrock converse": (modelId) => amazon.send(new ConverseCommand({ modelId, messages: talk })),
  "bedrock invoke": (modelId) => amazon.send(new InvokeModelCommand({ modelId, body, contentType })),
};
const streams = {
  "openai chat": (model) => openai.chat.completions.create({ model, messages, stream: true }),
  "openai responses": (model) => openai.responses.create({ model, input: prompt, stream: true }),
  "anthropic messages": (model) => claude.messages.create({ model, max_tokens: 5000, messages, stream: true }),
  "bedrock converse": async (modelId) => (await amazon.send(new ConverseStreamCommand({ modelId, messages: talk }))).stream,
  "bedrock invoke": async (modelId) => (await amazon.send(new InvokeModelWithResponseStreamCommand({ modelId, body, contentType }))).body,
};
for (const [name, make] of Object.entries(ai)) {
  whole[`AI SDK ${name}`] = (id) => generateText({ model: make(id), prompt });
  streams[`AI SDK ${name}`] = (id) => texts(make(id));
}

for (const [name, how, model] of JSON.parse(process.env.PLAN)) {
  const began = Date.now();
  let pieces = 0, raised = null;
  try {
    const answer = await (how === "whole" ? whole : streams)[name](model);
    if (how === "stream") for await (const _ of answer) pieces += 1;
  } catch (error) {
    raised = error ?? new Error("nothing");
  }
  console.log(JSON.stringify({
    case: name, model, streamed: how === "stream",
    error: raised && (raised.constructor?.name === "Object" ? "object" : raised.name && raised.name !== "Error" ? raised.name : raised.constructor.name),
    of: null,
    status: raised?.status ?? raised?.statusCode ?? raised?.$metadata?.httpStatusCode ?? null,
    message: raised ? `${raised.message ?? ""} ${JSON.stringify(raised)}` : "",
    pieces, seconds: (Date.now() - began) / 1000,
  }));
}
