// An unmodified program with the AI SDK and three of its providers; those that read no address from the environment are given one.
import { createAnthropic } from "@ai-sdk/anthropic";
import { createGoogleGenerativeAI } from "@ai-sdk/google";
import { createOpenAI } from "@ai-sdk/openai";
import { generateText, streamText } from "ai";

const door = process.env.DOOR;
const say = (what) => console.log(JSON.stringify(what));
const models = {
  google: (id) => createGoogleGenerativeAI({ baseURL: door && `${door}/gemini/v1beta` })(id ?? "gemini-2.5-flash"),
  openai: (id) => createOpenAI({ baseURL: door && `${door}/openai/v1` })(id ?? "gpt-4o-mini"),
  anthropic: (id) => createAnthropic({ baseURL: door && `${door}/anthropic/v1` })(id ?? "claude-sonnet-4-5"),
};

async function normal() {
  for (const [name, model] of Object.entries(models)) {
    const { text, usage } = await generateText({ model: model(), prompt: "hello there" });
    say({ what: name, text, usage });
    const stream = streamText({ model: model(), prompt: "hello there" });
    let streamed = "";
    for await (const piece of stream.textStream) streamed += piece;
    say({ what: `${name} stream`, text: streamed, usage: await stream.usage });
  }
}

await normal();
