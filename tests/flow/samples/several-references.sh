# https://api.atalk-ai.com/api-docs/api/image-generation, section 使用多参考图像
curl https://api.atalk-ai.com/images/generate \
  -H "Content-Type: application/json" \
  -H "Authorization: Bearer YOUR_API_KEY" \
  -d '{
    "model": "flux-2-pro",
    "prompt": "结合这些参考图像的风格创作一幅新作品",
    "input_image": "https://example.com/ref1.jpg",
    "input_image_2": "https://example.com/ref2.jpg",
    "input_image_3": "https://example.com/ref3.jpg",
    "aspect_ratio": "16:9"
  }'
